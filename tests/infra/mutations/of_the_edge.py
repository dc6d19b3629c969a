"""What can go wrong with the ways in, and with the functions behind them."""

from tests.infra.mutations.mutation import (
    Mutation,
    altered,
    giving,
    gone,
    unordered,
    within,
    without,
)
from tests.infra.policies import api, balancer, functions
from tests.infra.policies.policy import DYNAMODB, FARGATE, LAMBDA, POSTGRES, PULUMI

METHOD = "apigateway/method:Method"
FUNCTION = "lambda/function:Function"
LISTENER = "lb/listener:Listener"
TARGET = "lb/targetGroup:TargetGroup"

MUTATIONS = {
    "a validator without a model": Mutation(
        api.bodies_are_validated_by_a_model,
        LAMBDA,
        altered(METHOD, "", without("requestModels")),
    ),
    "a model without a validator": Mutation(
        api.bodies_are_validated_by_a_model,
        LAMBDA,
        altered(METHOD, "", without("requestValidatorId")),
    ),
    "a validator that validates no body": Mutation(
        api.bodies_are_validated_by_a_model,
        LAMBDA,
        altered(
            "apigateway/requestValidator:RequestValidator", "", giving(validateRequestBody=False)
        ),
    ),
    "a deployment that waits for no method": Mutation(
        api.a_change_of_a_method_reaches_the_stage,
        LAMBDA,
        unordered("apigateway/deployment:Deployment", ""),
    ),
    "a deployment without triggers": Mutation(
        api.a_change_of_a_method_reaches_the_stage,
        (POSTGRES,),
        altered("apigateway/deployment:Deployment", "", without("triggers")),
    ),
    "an access log that no stage names": Mutation(
        api.the_api_is_throttled_traced_and_logged,
        LAMBDA,
        altered("apigateway/stage:Stage", "", without("accessLogSettings")),
    ),
    "a stage that is not traced": Mutation(
        api.the_api_is_throttled_traced_and_logged,
        LAMBDA,
        altered("apigateway/stage:Stage", "", without("xrayTracingEnabled")),
    ),
    "a stage without its throttle": Mutation(
        api.the_api_is_throttled_traced_and_logged,
        LAMBDA,
        altered("apigateway/methodSettings:MethodSettings", "", gone),
    ),
    "a throttle that is not in force": Mutation(
        api.the_api_is_throttled_traced_and_logged,
        LAMBDA,
        altered("apigateway/methodSettings:MethodSettings", "", giving(settings={})),
    ),
    "a usage plan without a key": Mutation(
        api.the_api_asks_for_a_key_that_is_limited,
        (POSTGRES,),
        altered("apigateway/usagePlanKey:UsagePlanKey", "", gone),
    ),
    "a key that no method requires": Mutation(
        api.the_api_asks_for_a_key_that_is_limited,
        (POSTGRES,),
        altered(METHOD, "post-validate", giving(apiKeyRequired=False)),
    ),
    "the attachment does not wait for the permission": Mutation(
        balancer.the_load_balancer_reaches_functions,
        (POSTGRES,),
        unordered("lb/targetGroupAttachment:TargetGroupAttachment", "payment-tg"),
    ),
    "a load balancer without a firewall": Mutation(
        balancer.the_load_balancer_is_public_logged_and_guarded,
        PULUMI,
        altered("wafv2/webAclAssociation:WebAclAssociation", "", gone),
    ),
    "a load balancer without access logs": Mutation(
        balancer.the_load_balancer_is_public_logged_and_guarded,
        PULUMI,
        altered("lb/loadBalancer:LoadBalancer", "", without("accessLogs")),
    ),
    "HTTP that is answered": Mutation(
        balancer.requests_without_tls_are_redirected,
        PULUMI,
        altered(LISTENER, "payment-alb-http", giving(defaultActions=[{"type": "forward"}])),
    ),
    "a health check that asks the database": Mutation(
        balancer.the_load_balancer_lets_requests_finish,
        (FARGATE,),
        altered(TARGET, "", giving(healthCheck={"path": "/health", "interval": 30})),
    ),
    "requests that are cut off": Mutation(
        balancer.the_load_balancer_lets_requests_finish,
        (FARGATE,),
        altered(TARGET, "", giving(deregistrationDelay=0)),
    ),
    "a function that writes to the log group Lambda makes": Mutation(
        functions.each_function_has_its_own_role_log_group_trace_and_limit,
        LAMBDA,
        altered(FUNCTION, "payment-validat", without("loggingConfig")),
    ),
    "a function that is not traced": Mutation(
        functions.each_function_has_its_own_role_log_group_trace_and_limit,
        LAMBDA,
        altered(FUNCTION, "payment-validat", without("tracingConfig")),
    ),
    "a function that outlasts the API": Mutation(
        functions.each_function_has_its_own_role_log_group_trace_and_limit,
        LAMBDA,
        altered(FUNCTION, "payment-validat", giving(timeout=60)),
    ),
    "a function without a limit": Mutation(
        functions.each_function_has_its_own_role_log_group_trace_and_limit,
        LAMBDA,
        altered(FUNCTION, "payment-validat", without("reservedConcurrentExecutions")),
    ),
    "the function does not wait for its policy and logs": Mutation(
        functions.a_function_waits_for_its_policy_and_log_group,
        LAMBDA,
        unordered(FUNCTION, "payment-validat"),
    ),
    "functions outside the network": Mutation(
        functions.functions_are_in_the_private_network,
        (POSTGRES,),
        altered(FUNCTION, "payment-validator", without("vpcConfig")),
    ),
    "a function without the name of the bucket": Mutation(
        functions.functions_are_told_everything_but_secrets,
        LAMBDA,
        altered(
            FUNCTION,
            "payment-validat",
            within("environment", "variables", change=without("REMIT_AUDIT_BUCKET")),
        ),
    ),
    "a monitor that watches nothing": Mutation(
        functions.functions_are_told_everything_but_secrets,
        LAMBDA,
        altered(
            FUNCTION,
            "health-monitor",
            within("environment", "variables", change=without("REMIT_MONITORED_METRICS")),
        ),
    ),
    "a batch that fails as a whole": Mutation(
        functions.a_batch_fails_message_by_message,
        (DYNAMODB,),
        altered(
            "lambda/eventSourceMapping:EventSourceMapping", "", without("functionResponseTypes")
        ),
    ),
    "more containers than the database has connections for": Mutation(
        functions.connections_fit_into_the_database,
        (POSTGRES,),
        altered(FUNCTION, "", giving(reservedConcurrentExecutions=40)),
    ),
    "aliases that do not wait for the migration": Mutation(
        functions.new_code_takes_requests_only_after_the_migration,
        (POSTGRES,),
        unordered("lambda/alias:Alias", "payment-validator"),
    ),
}
