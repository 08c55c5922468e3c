"""All that a session has written down anywhere, to be searched for what must not be there."""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import requests

from local.simulator.ims import TOKEN_PREFIX
from local.stack import SEED, LocalStack
from tests.stack.scene import HEARD

# Every token of the simulator starts with the first, every client secret of a test with the second.
FORBIDDEN = (TOKEN_PREFIX, SEED.client_secret.removesuffix("one"))


@dataclass(frozen=True)
class Answers:
    """What the deployed APIs answered, as `Aws.call` saw it."""

    told: list[str] = field(default_factory=list)

    def keep(self, answer: requests.Response) -> requests.Response:
        self.told.append(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        return answer


def written(stack: LocalStack, answers: Answers) -> Iterator[tuple[str, str]]:
    """Where, and what: of every stack on this MiniStack, whoever deployed it."""
    for group in stack.aws.logs.get_paginator("describe_log_groups").paginate():
        for name in (each["logGroupName"] for each in group["logGroups"]):
            pages = stack.aws.logs.get_paginator("filter_log_events").paginate(logGroupName=name)
            yield from (
                (f"log {name}", event["message"]) for page in pages for event in page["events"]
            )
    for table in stack.aws.dynamodb.list_tables()["TableNames"]:
        for page in stack.aws.dynamodb.get_paginator("scan").paginate(TableName=table):
            yield from ((f"table {table}", str(item)) for item in page["Items"])
    for queue in stack.aws.sqs.list_queues().get("QueueUrls", []):
        for message in stack.peek(queue):
            yield f"queue {queue}", f"{message.body} {message.attributes}"
    for bucket in stack.aws.s3.list_buckets()["Buckets"]:
        if "statebucket" in bucket["Name"]:
            for stored in stack.aws.s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                told = stack.aws.s3.get_object(Bucket=bucket["Name"], Key=stored["Key"])
                content = told["Body"].read()
                journal = stored["Key"].endswith(".gz")
                text = (gzip.decompress(content) if journal else content).decode()
                yield f"bucket {bucket['Name']}", text
    for event in HEARD:
        yield f"event {event['detail-type']}", json.dumps(event, ensure_ascii=False)
    for answer in answers.told:
        yield "answer", answer
    # Also what functions print beside their log, and what the tools say.
    for log in stack.directory.glob("*.log"):
        yield f"file {log.name}", log.read_text("utf-8", "replace")


def leaks(texts: Iterable[tuple[str, str]], forbidden: Iterable[str] = FORBIDDEN) -> list[str]:
    """Where one of `forbidden` stands, with a little of what is around it."""
    found = []
    for where, text in texts:
        for word in forbidden:
            at = text.find(word)
            if at >= 0:
                found.append(f"{where}: …{text[max(0, at - 60) : at + len(word)]}…")
    return found
