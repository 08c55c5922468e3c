"""What the functions find in their environment."""

import pytest


@pytest.fixture
def environment() -> dict[str, str]:
    """A complete environment of a function, of nothing that exists."""
    return {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "POWERTOOLS_SERVICE_NAME": "aep-intake",
        "POWERTOOLS_METRICS_NAMESPACE": "AepIntake",
        "LEDGER_TABLE": "ledger",
        "BUS_NAME": "bus",
        "STATE_BUCKET": "state",
        "ARRIVALS_QUEUE_URL": "https://queue/arrivals",
        "ARRIVALS_DLQ_URL": "https://queue/parked",
        "MARKERS_QUEUE_URL": "https://queue/markers",
        "DUE_QUEUE_URL": "https://queue/due",
        "DUE_ORDERS_QUEUE_URL": "https://queue/due-orders",
        "DUE_FOLDERS_QUEUE_URL": "https://queue/due-folders",
        "CREDENTIALS": "arn:a, arn:b",
        "SOURCE_BUCKETS": "landing",
        "KEY_PATTERN": "*",
        "LANDING_ROLE": "arn:aws:iam::123456789012:role/uploads",
        "PLATFORM_URL": "https://platform.simulated",
        "IMS_URL": "https://ims.simulated",
        "ROUTES_APPLICATION": "app",
        "ROUTES_ENVIRONMENT": "env",
        "ROUTES_PROFILE": "profile",
        "LIMITS_APPLICATION": "limits-app",
        "LIMITS_ENVIRONMENT": "limits-env",
        "LIMITS_PROFILE": "limits-profile",
        "DELIVERY_CONCURRENCY": "10",
        "RETENTION_DAYS": "60",
        "JOURNAL_DAYS": "400",
        "DELIVERIES_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/deliveries",
        "DELIVERIES_DLQ_URL": "https://queue/deliveries-parked",
        "DUE_DELIVERIES_QUEUE_URL": "https://queue/due-deliveries",
        "UPLOADS_DLQ_URL": "https://queue/uploads-parked",
        "UPLOADS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads",
        "UPLOAD_SECONDS": "300",
        "DELIVER_BATCHES": "true",
    }
