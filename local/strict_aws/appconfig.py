"""AppConfig deploys nothing that the profile's validators refuse."""

import json
from typing import Any, Final

from jsonschema import Draft4Validator
from ministack.services import appconfig
from ministack.services.cloudformation import provisioners

from local.strict_aws.patches import Answer, Function, instead_of

type Properties = dict[str, Any]

_of_deployments: Final = provisioners._RESOURCE_HANDLERS["AWS::AppConfig::Deployment"]


@instead_of(appconfig, "_start_deployment", switch="validators")
def deploy_valid(deploy: Function, application: str, environment: str, body: Properties) -> Answer:
    why = _fault(application, body)
    answer: Answer = (
        appconfig._error(400, "BadRequestException", why)
        if why
        else deploy(application, environment, body)
    )
    return answer


@instead_of(_of_deployments, "create", switch="validators")
def provision_valid(create: Function, logical_id: str, properties: Properties, stack: str) -> Any:
    if why := _fault(properties["ApplicationId"], properties):
        raise ValueError(why)
    return create(logical_id, properties, stack)


def _fault(application: str, deployment: Properties) -> str | None:
    """What the first validator that is not satisfied says; only JSON Schemas are asked."""
    profile = f"{application}/{deployment.get('ConfigurationProfileId')}"
    version = appconfig._hosted_versions.get(f"{profile}/{deployment.get('ConfigurationVersion')}")
    if version is None:
        return None
    for validator in appconfig._config_profiles[profile]["Validators"]:
        if validator["Type"] == "JSON_SCHEMA":
            schema = Draft4Validator(json.loads(validator["Content"]))
            for error in schema.iter_errors(json.loads(version["Content"])):
                return f"Error validating configuration: {error.json_path}: {error.message}"
    return None
