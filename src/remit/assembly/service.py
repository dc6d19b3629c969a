"""Chooses the assembly that the settings ask for. Only what is used is imported."""

from remit.ports.app import App
from remit.settings import Settings, SettingsError


def assemble(settings: Settings) -> App:
    """The service over what the settings name. Nothing is opened. Raises SettingsError."""
    if settings.idle_after_seconds is not None and settings.work_queue_url is None:
        raise SettingsError(
            "REMIT_IDLE_AFTER_SECONDS needs REMIT_WORK_QUEUE_URL: a work queue in the database is "
            "polled, which keeps the database awake."
        )
    if settings.operator_function is not None or settings.operator_task is not None:
        from remit.assembly.operator import through_operator

        return through_operator(settings)
    if settings.is_in_aws:
        # A laptop has nothing of AWS's installed.
        from remit.assembly.aws import assemble_in_aws

        return assemble_in_aws(settings)
    if settings.database_url is not None:
        from remit.assembly.local import assemble_locally

        return assemble_locally(settings)
    raise SettingsError("REMIT_DATABASE_URL is not set; `remit up` starts a database itself.")
