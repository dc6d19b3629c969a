"""Chooses the assembly by the settings. Only the adapters in use are imported."""

from remit.ports.app import App
from remit.settings import Settings, SettingsError


def assemble(settings: Settings) -> App:
    """The service that the settings describe. Nothing is opened yet. Raises SettingsError."""
    if settings.idle_after_seconds is not None and settings.work_queue_url is None:
        raise SettingsError(
            "REMIT_IDLE_AFTER_SECONDS needs REMIT_WORK_QUEUE_URL: a work queue in the database is "
            "polled, which keeps the database awake."
        )
    if settings.operator_function is not None or settings.operator_task is not None:
        from remit.assembly.operator import assemble_for_operator

        return assemble_for_operator(settings)
    if settings.is_in_aws:
        # A laptop does not have AWS's SDK installed.
        from remit.assembly.aws import assemble_in_aws

        return assemble_in_aws(settings)
    if settings.database_url is not None:
        from remit.assembly.local import assemble_locally

        return assemble_locally(settings)
    raise SettingsError("REMIT_DATABASE_URL is not set; `remit up` starts a database itself.")
