-- Rows that came into each dataset, by day, in the last month; and those that AEP left out.
SELECT
  day,
  detail.sandbox,
  detail.datasetId,
  sum(coalesce(detail.ingestedRecordCount, detail.sentRecordCount, 0)) AS rows_loaded,
  sum(coalesce(detail.failedRecordCount, 0)) AS rows_left_out,
  count(*) AS batches
FROM intake_events
WHERE day > CAST(current_date - INTERVAL '31' DAY AS varchar)
  AND detail_type = 'Batch Succeeded'
GROUP BY day, detail.sandbox, detail.datasetId
ORDER BY day, rows_loaded DESC
