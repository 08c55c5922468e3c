-- The journal as a table of Athena. Put the name of your state bucket (output StateBucketName) for BUCKET,
-- twice. A query names the days it wants, and Athena reads no others. `hour` and `day` are in UTC.
CREATE EXTERNAL TABLE intake_journal (
  `detail_type` string,
  `id` string,
  `time` string,
  `detail` struct<
    externalId: string, batchId: string, route: string, sandbox: string, datasetId: string,
    imsOrg: string, attempt: int, splitOf: string, status: string, reason: string, detail: string,
    fileCount: bigint, byteCount: bigint,
    files: array<struct<bucket: string, key: string, versionId: string, size: bigint>>,
    lostFileCount: bigint,
    lostFiles: array<struct<uri: string, reason: string, detail: string>>,
    sentRecordCount: bigint, ingestedRecordCount: bigint, failedRecordCount: bigint,
    errors: array<struct<code: string, description: string, recordCount: bigint, hint: string>>,
    createdAt: string, uploadedAt: string, endedAt: string, rejectedAt: string>
)
PARTITIONED BY (`day` string, `hour` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('mapping.detail_type' = 'detail-type', 'case.insensitive' = 'true')
LOCATION 's3://BUCKET/journal/v1/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy-MM-dd',
  'projection.day.range' = '2026-01-01,NOW+1DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://BUCKET/journal/v1/day=${day}/hour=${hour}/'
)
