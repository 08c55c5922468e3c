"""The whole product on this machine, from the real template by the real SAM CLI.

MiniStack, made as strict as AWS, plays it, our simulator plays Adobe, and `sam build` and
`sam deploy` do what they do for a real account. Everything listens on loopback, lives in one
temporary directory, and is gone when the `LocalStack` is left.
"""

import copy
import fcntl
import json
import os
import re
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests
from aep_intake_cli.documents import LIMITS_IDS, PublishedDocument
from botocore.exceptions import ClientError

from local import emulator, policies
from local.aws import REGION, Aws
from local.bus import Event, Listener
from local.children import Child, ChildFailed, environment
from local.emulator import ACCOUNT, Emulator, answers, ports
from local.simulator import Seed

ROOT = emulator.ROOT
BUILD = ROOT / ".aws-sam" / "build"
# A variable that names a run of tests: nothing is changed while it lasts, so one build is enough.
BUILT_FOR = "AEP_INTAKE_BUILT_FOR"
# What its first `sam deploy` uploaded, by bucket and key, and the template that names it.
UPLOADED = ROOT / ".local" / "uploaded"
USUAL_PORTS = {"aws": 4566, "platform": 4570}

SEED = Seed()

# What `aws s3 cp|ls|sync|mv|rm`, pyarrow, pandas with s3fs and rclone ask for in a bucket.
SENDS_IN_BUCKET = (
    *("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions"),
    "s3:ListBucketMultipartUploads",
)
SENDS_OBJECTS = (
    *("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    *("s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject", "s3:DeleteObjectVersion"),
    *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
)


def relax(built: Path) -> None:
    """Let limits be weaker than anywhere else in what was built: tests wait for no two minutes."""
    schema = built / "IntakeLayer" / "python" / "aep_intake" / "model" / "limits.schema.json"
    text = schema.read_text("utf-8")
    text = re.sub(r'"minimum": \d+', '"minimum": 1', text)
    schema.write_text(re.sub(r'"maximum": \d+', '"maximum": 1000000', text), "utf-8")


def _limit(template: dict[str, Any], function: str, seconds: int) -> None:
    """Let a worker of a function take so long, and 30 s more pass until its messages come again."""
    resources = template["Resources"]
    if function == "OnUpload":  # is told by its environment, too
        template["Mappings"]["Fixed"]["Uploads"]["Seconds"] = str(seconds)
    resources[function]["Properties"]["Timeout"] = seconds
    for resource in list(resources.values()):
        about = resource.get("Properties", {})
        if "EventSourceArn" in about and about["FunctionName"] == {"Ref": function}:
            queue, _ = about["EventSourceArn"]["Fn::GetAtt"]
            resources[queue]["Properties"]["VisibilityTimeout"] = seconds + 30


def _uploads(template: dict[str, Any]) -> set[tuple[str, str]]:
    """Bucket and key of all code and layers."""
    about = [resource.get("Properties", {}) for resource in template["Resources"].values()]
    places = [each.get(name) for each in about for name in ("Code", "Content")]
    return {
        (place["S3Bucket"], place["S3Key"])
        for place in places
        if isinstance(place, dict) and "S3Key" in place
    }


@dataclass(frozen=True)
class Parked:
    """A message in a queue; `attributes` of the message, as text."""

    body: str
    attributes: dict[str, str]


class LocalStack:
    """A context manager: entering starts and deploys everything, leaving ends and removes it all.

    usual_ports: try 4566 and 4570 first; tests do not, so that several can run at once.
    parameters: of the template, over those this class sets. limits: of the document that
    `aep-intake limits publish` publishes; they may be weaker here than anywhere else.
    hold_ms: how long a transaction holds its items; None for as long as usual.
    say: is told, in a few words, what is going on.
    """

    def __init__(
        self,
        *,
        usual_ports: bool = False,
        parameters: Mapping[str, str] | None = None,
        limits: Mapping[str, object] | None = None,
        hold_ms: float | None = None,
        say: Callable[[str], None] = lambda _: None,
        seen: Callable[[Event], None] | None = None,
    ) -> None:
        self.name = "aep-intake"
        self.outputs: dict[str, str] = {}
        self._usual_ports = usual_ports
        self._parameters = dict(parameters or {})
        self._limits = dict(limits or {})
        self._hold_ms = hold_ms
        self._say = say
        self._seen = seen
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            self._cleanup = started
            self._start()
            self._cleanup = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="aep-intake-"))
        self._cleanup.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._say("starting MiniStack, which plays AWS")
        self._start_aws()
        self._say("starting the simulator of Adobe")
        self._start_platform()
        self.secret_arn = self._put_credential()
        self._build_and_deploy()
        self._publish_limits(self.outputs, self.parameters(), {})
        self.sender = self.identity("sender", self._sender_statements())
        self.listener = Listener(self.aws, self.outputs["BusName"], self._seen)
        self._cleanup.callback(self.listener.abandon)

    # AWS and Adobe

    def _start_aws(self) -> None:
        self._emulator = self._cleanup.enter_context(
            Emulator(
                self.directory,
                usual_port=USUAL_PORTS["aws"] if self._usual_ports else 0,
                hold_ms=self._hold_ms,
            )
        )
        self.endpoint, self.authority = self._emulator.endpoint, self._emulator.authority
        self.aws, self.faults = self._emulator.aws, self._emulator.faults
        # Also proves that the answer came from our MiniStack: another one does not know this key.
        self._deployer = self.deployer(self.name)

    def _start_platform(self) -> None:
        for port in ports(USUAL_PORTS["platform"] if self._usual_ports else 0):
            child = self._child(
                "simulator",
                [sys.executable, "-m", "local.simulator", "--port", str(port)],
                environment(self.endpoint, path=[], more={}),
            )
            self.platform = f"http://127.0.0.1:{port}"
            if answers(child, f"{self.platform}/_control/health"):
                return
            child.stop()
        raise ChildFailed(f"the AEP simulator did not start\n{child.tail()}")

    def _child(self, name: str, command: list[str], env: Mapping[str, str]) -> Child:
        child = Child(command, env=env, log=self.directory / f"{name}.log", cwd=ROOT)
        return self._cleanup.enter_context(child)

    # What a real account has before the template comes: people, and a secret

    def identity(self, name: str, statements: list[dict[str, object]]) -> Aws:
        """An IAM user that may do what `statements` allow, and nothing else."""
        return self._emulator.identity(name, statements)

    def deployer(self, stack: str) -> Aws:
        """An IAM user that may do what `policies/deployer.json` says, for a stack of that name."""
        return self.identity(f"deployer-of-{stack}", policies.statements("deployer", STACK=stack))

    def operator(self, source_bucket: str = "none") -> Aws:
        """An IAM user that may do what `policies/operator.json` says, and nothing else."""
        return self.identity(
            f"operator-of-{self.name}-{uuid.uuid4().hex[:8]}",
            policies.enforced_here(
                policies.statements(
                    "operator",
                    STACK=self.name,
                    SECRETS="aep/*",
                    SOURCE_BUCKET=source_bucket,
                    ALARM_TOPIC_ARN=f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms",
                    ROUTES_APPLICATION_ID=self.outputs["RoutesApplicationId"],
                    LIMITS_APPLICATION_ID=self.outputs["LimitsApplicationId"],
                )
            ),
        )

    def _sender_statements(self) -> list[dict[str, object]]:
        """What a producer's role may: all that uploaders and file systems do by themselves."""
        bucket = f"arn:aws:s3:::{self.outputs['LandingBucketName']}"
        return [
            {"Effect": "Allow", "Action": SENDS_IN_BUCKET, "Resource": bucket},
            {"Effect": "Allow", "Action": SENDS_OBJECTS, "Resource": f"{bucket}/*"},
            {
                "Effect": "Allow",
                "Action": "execute-api:Invoke",
                "Resource": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:*",
            },
        ]

    def credential(self, client_secret: str | None = None) -> str:
        """A project file as Adobe's Developer Console lets people download it."""
        server_to_server = {
            "client_id": SEED.client_id,
            "client_secrets": [client_secret or SEED.client_secret],
            "technical_account_email": "intake@techacct.adobe.com",
            "technical_account_id": "5E4B776E0A49421B745F37C3@techacct.adobe.com",
            "scopes": list(SEED.scopes),
        }
        credential = {
            "id": "461783",
            "name": "intake",
            "integration_type": "oauth_server_to_server",
            "oauth_server_to_server": server_to_server,
        }
        project = {
            "id": "4566206088344828511",
            "name": "intake",
            "title": "Batch intake",
            "org": {"id": "1188293", "name": "Acme", "ims_org_id": SEED.ims_org},
            "workspace": {
                "id": "4566206088344861277",
                "name": "Production",
                "details": {"credentials": [credential]},
            },
        }
        return json.dumps({"project": project})

    def _put_credential(self) -> str:
        return self.aws.secrets.create_secret(Name="aep/acme", SecretString=self.credential())[
            "ARN"
        ]

    # The template

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Test workers share the checkout: one of them at a time, told if it is the first."""
        with (ROOT / ".local" / "build.lock").open("a+", encoding="utf-8") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.seek(0)
            run = os.environ.get(BUILT_FOR, "")
            first = not run or held.read() != run
            yield first
            if first:
                held.truncate(0)
                held.write(run)

    def _build_and_deploy(self) -> None:
        (ROOT / ".local").mkdir(exist_ok=True)
        with self._alone() as first:
            if first:
                self._say("sam build")
                self._sam("build", "--cached")
            # The next one to build begins by removing what is there.
            shutil.copytree(BUILD, self.directory / "deployed")
            relax(self.directory / "deployed")
            if first:
                self._say("sam deploy")
                self._deploy()
                self._keep_what_was_uploaded()
            else:
                self._say("what sam deploy uploaded for another test, deployed again")
                self._deploy_again()

    def _deploy(self) -> None:
        overrides = [f"{name}={value}" for name, value in self.parameters().items()]
        try:
            self._sam(
                "deploy",
                *("--template-file", str(self.directory / "deployed" / "template.yaml")),
                *("--stack-name", self.name),
                *("--region", REGION),
                *("--capabilities", "CAPABILITY_IAM"),
                *("--resolve-s3", "--no-confirm-changeset", "--no-progressbar"),
                *("--parameter-overrides", *overrides),
            )
        except ChildFailed as failure:
            raise ChildFailed(f"{failure}\n{self._reasons()}") from None
        self.outputs = self.outputs_of(self.name)
        self._template = self.aws.cloudformation.get_template(StackName=self.name)["TemplateBody"]

    def _keep_what_was_uploaded(self) -> None:
        """For others of this run of tests: each `sam deploy` takes ten seconds of a core."""
        shutil.rmtree(UPLOADED, ignore_errors=True)
        for bucket, key in _uploads(self._template):
            file = UPLOADED / bucket / key
            file.parent.mkdir(parents=True, exist_ok=True)
            self.aws.s3.download_file(bucket, key, str(file))
        (UPLOADED / "template.json").write_text(json.dumps(self._template), "utf-8")

    def _deploy_again(self) -> None:
        text = (UPLOADED / "template.json").read_text("utf-8")
        self._template = json.loads(text)
        uploads = _uploads(self._template)
        for bucket in {bucket for bucket, _ in uploads}:
            self.bucket(bucket)
        for bucket, key in uploads:
            self.aws.s3.upload_file(str(UPLOADED / bucket / key), bucket, key)
        self.outputs = self.create(self.name, text, self.parameters())

    def _reasons(self) -> str:
        """Why CloudFormation gave up, which `sam` buries in its table."""
        try:
            events = self.aws.cloudformation.describe_stack_events(StackName=self.name)
        except ClientError as error:
            return str(error)
        return "\n".join(
            f"{event.get('LogicalResourceId')}: {event.get('ResourceStatusReason')}"
            for event in events["StackEvents"]
            if event.get("ResourceStatus", "").endswith("FAILED")
        )

    def parameters(self) -> dict[str, str]:
        return {
            "CredentialSecrets": self.secret_arn,
            "PlatformUrl": self.platform,
            "ImsUrl": self.platform,
            **self._parameters,
        }

    def _publish_limits(
        self,
        outputs: Mapping[str, str],
        parameters: Mapping[str, str],
        limits: Mapping[str, object],
    ) -> None:
        """Our organizations' sandboxes, and the limits, as `aep-intake limits publish` does it."""
        document = {
            "organizations": [
                {"credential": arn, "sandboxes": list(SEED.sandboxes)}
                for arn in parameters["CredentialSecrets"].split(",")
                if not arn.endswith("*")
            ],
            "limits": self._limits | dict(limits),
        }
        published = PublishedDocument(self.aws.appconfig, *(outputs[name] for name in LIMITS_IDS))
        schema = self.layer / "aep_intake" / "model" / "limits.schema.json"
        self.aws.appconfig.update_configuration_profile(
            ApplicationId=published.application,
            ConfigurationProfileId=published.profile,
            Validators=[{"Type": "JSON_SCHEMA", "Content": schema.read_text("utf-8")}],
        )
        published.publish(json.dumps(document).encode(), lambda _: [])

    def deploy_variant(
        self,
        name: str,
        parameters: Mapping[str, str],
        limits: Mapping[str, object] | None = None,
        *,
        seconds: Mapping[str, int] | None = None,
    ) -> dict[str, str]:
        """Another stack from the artefacts already uploaded, without SAM. Returns its outputs.

        `parameters` and `limits` are over this one's. seconds: that a worker of a function may
        take, by its name in the template, where not as many as everywhere; what a killed one
        leaves behind is begun anew half a minute after them.
        """
        template = copy.deepcopy(self._template)
        # A test asks more often than people do.
        template["Mappings"]["Fixed"]["Requests"]["PerSecond"] = "200"
        template["Mappings"]["Fixed"]["Journal"]["Seconds"] = "1"
        for function, most in (seconds or {}).items():
            _limit(template, function, most)
        all_of_them = self.parameters() | dict(parameters)
        outputs = self.create(name, json.dumps(template), all_of_them)
        self._publish_limits(outputs, all_of_them, limits or {})
        return outputs

    def create(self, name: str, template: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Another stack, by CloudFormation alone. Returns its outputs."""
        bucket = self.bucket(f"templates-of-{name}")
        self.aws.s3.put_object(Bucket=bucket, Key="template", Body=template)
        self.aws.cloudformation.create_stack(
            StackName=name,
            TemplateURL=f"{self.endpoint}/{bucket}/template",  # too long to go in the request
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
        )
        self.aws.cloudformation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        return self.outputs_of(name)

    def bucket(self, name: str) -> str:
        """Make a bucket; its name."""
        self.aws.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        return name

    def redeploy(self, name: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """The stack of that name with other parameters. Returns its outputs."""
        [before] = self.aws.cloudformation.describe_stacks(StackName=name)["Stacks"]
        kept = {each["ParameterKey"]: each["ParameterValue"] for each in before["Parameters"]}
        self.aws.cloudformation.update_stack(
            StackName=name,
            UsePreviousTemplate=True,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in (kept | dict(parameters)).items()
            ],
        )
        self.aws.cloudformation.get_waiter("stack_update_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )
        return self.outputs_of(name)

    def outputs_of(self, name: str) -> dict[str, str]:
        """The outputs of a stack."""
        stack = self.aws.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def _sam(self, *command: str) -> None:
        # sam build wants the functions' Python on the path.
        self.sam(*command, deployer=self._deployer, path=[ROOT / ".venv/bin"], folder=ROOT)

    def sam(self, *command: str, deployer: Aws, path: list[Path], folder: Path) -> None:
        """Run the SAM command line in a folder. Raises ChildFailed with what it says."""
        env = environment(
            self.endpoint,
            path=path,
            more={
                **deployer.identity.variables(),
                "AWS_CA_BUNDLE": str(self.authority),
                "SAM_CLI_TELEMETRY": "0",
                "__SAM_CLI_APP_DIR": str(self.directory / "sam"),  # not ~/.aws-sam
                "TMPDIR": str(self.directory),
            },
        )
        with Child(
            [str(ROOT / ".venv-sam/bin/sam"), *command],
            env=env,
            log=self.directory / f"sam-{command[0]}.log",
            cwd=folder,
        ) as sam:
            sam.wait(300)

    @property
    def layer(self) -> Path:
        """The package aep_intake as it is deployed here, its limits relaxed."""
        return self.directory / "deployed" / "IntakeLayer" / "python"

    def publish_routes(self, table: Path) -> None:
        """Make a routing table live as an operator does. Raises ChildFailed where it is refused."""
        env = environment(
            self.endpoint,
            path=[],
            more={
                **self.operator().identity.variables(),
                "AWS_CA_BUNDLE": str(self.authority),
                # What limits may be, as it is deployed here.
                "PYTHONPATH": f"{self.layer}{os.pathsep}{ROOT / 'cli'}",
            },
        )
        command = [sys.executable, "-m", "aep_intake_cli", "routes", "publish", str(table)]
        command += ["--stack", self.name]
        with Child(command, env=env, log=self.directory / "publish.log", cwd=ROOT) as publish:
            publish.wait(60)

    # Sending

    @property
    def api(self) -> str:
        """The address of the deployed API here; the stack's output names amazonaws.com."""
        address = self.outputs["ApiUrl"].removeprefix("https://")
        host, _, stage = address.partition("/")
        return f"{self.endpoint}/_aws/execute-api/{host.split('.')[0]}/{stage.strip('/')}"

    def put(self, key: str, body: bytes) -> str:
        """Copy `body` into the landing bucket, as the sender. Returns its version id."""
        return self.sender.s3.put_object(
            Bucket=self.outputs["LandingBucketName"], Key=key, Body=body
        )["VersionId"]

    # Looking

    def control(self, method: str, path: str, body: object = None) -> Any:
        """The simulator's control interface: `control("GET", "/batches")`. Its JSON, if any."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                method, f"{self.platform}/_control{path}", json=body, timeout=9
            )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def parked(self) -> list[Parked]:
        """What is in the arrivals' dead-letter queue, left there."""
        return self.peek(self.outputs["ArrivalsDlqUrl"])

    def peek(self, queue: str) -> list[Parked]:
        """Every message of a queue, also those that somebody works on; all stay as they are.

        MiniStack's own view, as receiving hides messages and always gives the same first ten.
        """
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"{self.endpoint}/_ministack/sqs/messages",
                params={"QueueUrl": queue},
                verify=str(self.authority),
                timeout=9,
            )
        answer.raise_for_status()
        found = answer.json()["messages"].get(ACCOUNT, {}).get(REGION, {}).get(queue, [])
        return [
            Parked(
                message["Body"],
                {
                    name: attribute.get("StringValue", "")
                    for name, attribute in message["MessageAttributes"].items()
                },
            )
            for message in found
        ]

    def logged(self, function: str) -> list[dict[str, Any]]:
        """The JSON lines of the log of a function, such as `on-arrival`; metrics among them."""
        pages = self.aws.logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.name}/{function}"
        )
        lines = [event["message"] for page in pages for event in page["events"]]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def ledger(self) -> list[dict[str, Any]]:
        """Every item of the ledger table, as DynamoDB's JSON."""
        pages = self.aws.dynamodb.get_paginator("scan").paginate(
            TableName=self.outputs["LedgerTable"]
        )
        return [item for page in pages for item in page["Items"]]
