-- What became of a file: write its address, and the days to look at. The files of a window of some
-- thousand are not in its event, but in its manifest: `aep-intake` and GET /objects find those, too.
SELECT day, hour, detail_type, detail.route, detail.batchId, detail.externalId, detail.reason, detail.detail
FROM intake_events
WHERE day >= CAST(current_date AS varchar)
  AND detail.externalId IN (
    SELECT detail.externalId
    FROM intake_events
    WHERE day >= CAST(current_date AS varchar)
      AND any_match(detail.files, file -> concat('s3://', file.bucket, '/', file.key) = 's3://landing/in/members.csv')
  )
ORDER BY day, hour, coalesce(detail.endedAt, detail.rejectedAt, detail.createdAt)
