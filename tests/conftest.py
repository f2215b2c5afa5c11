"""The environment every handler module reads at import; set before any of them is imported."""

import os

os.environ.update(
    STAGE="local",
    AUTH_MODE="dev",
    EVENTS_TABLE="events-test",
    PROJECTIONS_TABLE="projections-test",
    CONTROL_TABLE="control-test",
    EVENT_RETENTION_DAYS="30",
    TIMELINE_SHARDS="2",
    ARCHIVE_ENABLED="false",
    ALERTS_TOPIC="arn:aws:sns:us-east-1:123456789012:alerts-test",
    RELAY_ASIDE_QUEUE="https://sqs.us-east-1.amazonaws.com/123456789012/aside-test",
    ALERT_WEBHOOKS="http://127.0.0.1:1/hook",
    OUTBOUND_ALLOW="127.0.0.0/8",
    DELIVERY_TIMEOUT_SECONDS="1",
    DELIVERY_RETRY_SECONDS="5,60",
    NOTIFICATIONS_QUEUE="https://sqs.us-east-1.amazonaws.com/123456789012/notifications-test",
    NOTIFICATIONS_DEAD_LETTER_QUEUE="https://sqs.us-east-1.amazonaws.com/123456789012/dead-test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    JOBS_QUEUE="https://sqs.us-east-1.amazonaws.com/123456789012/jobs-test",
    ARCHIVE_BUCKET="archive-test",
    MAX_STREAMS="3",
    POWERTOOLS_TRACE_DISABLED="true",
)
os.environ.pop("AWS_ENDPOINT_URL", None)
