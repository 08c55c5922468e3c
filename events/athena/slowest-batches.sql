-- The batches of this week that took the longest: until their files were uploaded, and until they ended.
SELECT
  detail.batchId,
  coalesce(detail.route, '-') AS route,
  detail_type,
  date_diff('second', created, uploaded) AS seconds_to_upload,
  date_diff('second', created, ended) AS seconds_to_end,
  detail.fileCount,
  detail.byteCount
FROM (
  SELECT
    detail_type,
    detail,
    CAST(replace(replace(detail.createdAt, 'T', ' '), 'Z', '') AS timestamp) AS created,
    CAST(replace(replace(detail.uploadedAt, 'T', ' '), 'Z', '') AS timestamp) AS uploaded,
    CAST(replace(replace(detail.endedAt, 'T', ' '), 'Z', '') AS timestamp) AS ended
  FROM intake_events
  WHERE day > CAST(current_date - INTERVAL '7' DAY AS varchar)
    AND detail.endedAt IS NOT NULL
) AS batches
ORDER BY seconds_to_end DESC
LIMIT 20
