"""What each reason of a parked message means, and what to do: for docs, page and command.

The reasons are those of `model.errors.Rejected`, of batches that ended without data, and one for
messages that SQS gave up.
"""

from collections.abc import Mapping

from aep_intake.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """What a reason means, and what to do about it. Code is in backticks."""

    means: str
    todo: str


REASONS: Mapping[str, Reason] = {
    "malformed-event": Reason(
        "the intake does not understand the message",
        "send S3's own events, or delete the message from the dead-letter queue",
    ),
    "malformed-request": Reason(
        "the request is wrong; `detail` names the member",
        "correct the request",
    ),
    "key-reused": Reason(
        "this `Idempotency-Key` or external id came before, with another request",
        "use a new key",
    ),
    "no-route": Reason(
        "no route matches the object",
        "add a route, or one with `ignore`; redrive",
    ),
    "key-not-taken": Reason(
        "the key of an upload is ignored, a marker, or never data",
        "choose a key that a route takes",
    ),
    "object-exists": Reason(
        "an object has the key of an upload, which never overwrites",
        "choose another key",
    ),
    "empty-object": Reason(
        "the file, or what its gzip contains, is empty; AEP fails a batch with an empty file",
        "send the file again",
    ),
    "too-old": Reason(
        "it arrived longer ago than the ledger remembers",
        "find out whether AEP has it; if not, `aws s3 cp` it onto itself with "
        "`--metadata-directive REPLACE`",
    ),
    "too-large": Reason(
        "the file cannot be cut, and it or the batch is larger than AEP's limit",
        "write smaller files",
    ),
    "no-files": Reason(
        "the marker's folder holds no file for its route",
        "check the route; then redrive",
    ),
    "marker-missing": Reason(
        "no marker, or no ready file, came within the time that the route allows (`within`)",
        "write the marker; or redrive, which looks for it again",
    ),
    "malformed-manifest": Reason(
        "the marker is a manifest that cannot be read, or names a file that is not there",
        "correct the manifest",
    ),
    "not-replaceable": Reason(
        "the new version cannot take the place of the one before",
        "see `detail`; the route may say `append`",
    ),
    "format-unknown": Reason(
        "the name does not say the format, and the bytes are no Parquet",
        "give the route an `inputFormat`; redrive",
    ),
    "format-mismatch": Reason(
        "the first bytes are of another format, charset or delimiter than the route says",
        "correct the file or the route",
    ),
    "read-too-slowly": Reason(
        "workers ended before S3 had given them the file, several times",
        "look for throttling of S3 or KMS; then redrive",
    ),
    "contents-unknown": Reason(
        "somebody deleted the list of a batch, which says which of its files were left out",
        "look in the dataset for the file's rows; if there are none, request a batch for it",
    ),
    "too-few-rows": Reason(
        "the file has fewer rows than `minRows` of its route; a CSV's header is not a row",
        "write no such file, or set `minRows`; redrive",
    ),
    "bad-rows": Reason(
        "more rows are broken than `badRows` of the route allows; `detail` names the first. With a "
        "`map`, the event of the batch says where all of them are",
        "correct the file, or set `badRows`; redrive",
    ),
    "rows-differ": Reason(
        "the file does not have as many rows as its ready file says",
        "send the file again, or write the right number into its ready file; redrive",
    ),
    "object-gone": Reason(
        "the version that arrived is no longer there",
        "send it again",
    ),
    "object-archived": Reason(
        "the object is in an archive class of S3",
        "restore it; redrive",
    ),
    "customer-key-needed": Reason(
        "the object is encrypted with a key that only its sender has (SSE-C)",
        "send it without SSE-C",
    ),
    "routes-differ": Reason(
        "the present routes give files of one order different routes, targets or formats",
        "correct the routes, or redrive with `--as-ordered`",
    ),
    "overtaken": Reason(
        "it was redriven, but a newer version of a file, or the same bytes, are loaded or under "
        "way",
        "discard it; or redrive with `--even-if-overtaken`",
    ),
    "target-not-allowed": Reason(
        "the stack does not allow the sandbox, credential or bucket, or the dataset is Adobe's own",
        "correct the route or organizations",
    ),
    "already-claimed": Reason(
        "other orders have some of these files",
        "see `claimed` in the answer",
    ),
    "dataset-not-found": Reason(
        "the sandbox has no dataset of that name, or more than one",
        "correct the name, or use `datasetId`",
    ),
    "batch-refused": Reason(
        "AEP refused to make the batch; `detail` has its words",
        "see `detail`; correct rights, labels or the dataset",
    ),
    "upload-refused": Reason(
        "AEP did not take a file, or did not let the batch be completed",
        "see `detail`",
    ),
    "not-ended": Reason(
        "the batch may hold data, so another attempt could double it",
        "wait until it has ended",
    ),
    "needs-attention": Reason(
        "AEP holds a batch of this order in an unexpected state",
        "look at it in AEP, then redrive",
    ),
    "batch-failed": Reason(
        "AEP failed the batch, or each batch with this file",
        "see `errors` in `Batch Failed`; fix, redrive. If a window failed because of a few "
        'files, let the route say `"onFailed": "split"`, then redrive',
    ),
    "batch-abandoned": Reason(
        "the batch ended without a verdict",
        "see `detail`; redrive",
    ),
    "tries-used-up": Reason(
        "its worker died again and again, so SQS parked it",
        "read the function's log; redrive",
    ),
}
