"""The settings with which an operator's commands work on a deployment of lambda-postgres."""

from remit.settings import PREFIX
from remit_infra.deployment import Clients, DeployError
from remit_infra.environments import Names


def function_settings(client: Clients, name: str) -> dict[str, str]:
    """The service's settings as a deployed function has them."""
    found = client("lambda").get_function_configuration(FunctionName=name)
    variables: dict[str, str] = found["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if name.startswith(PREFIX)}


def operator_settings(client: Clients, suffix: str) -> dict[str, str]:
    """Those of the deliverer, with the function that asks for operators in the place of the
    database. Raises DeployError where the API has no usage plan.
    """
    names = Names(suffix)
    kept = {
        name: value
        for name, value in function_settings(client, names("function", "payment-delivery")).items()
        if not name.startswith(f"{PREFIX}DATABASE_")
    }
    pages = client("apigateway").get_paginator("get_usage_plans").paginate()
    plans = {plan["name"]: plan["id"] for page in pages for plan in page["items"]}
    name = names("usage plan", "payment-api")
    if name not in plans:
        raise DeployError(f"There is no usage plan {name} in this account and region.")
    return kept | {
        f"{PREFIX}OPERATOR_FUNCTION": names("function", "payment-operator"),
        f"{PREFIX}USAGE_PLAN_ID": plans[name],
    }
