-- What happened today, by route. Files and bytes count when they get their first batch.
SELECT
  coalesce(detail.route, '-') AS route,
  sum(CASE WHEN detail_type = 'Batch Created' AND detail.attempt = 1 AND detail.splitOf IS NULL
      THEN detail.fileCount ELSE 0 END) AS files,
  sum(CASE WHEN detail_type = 'Batch Created' AND detail.attempt = 1 AND detail.splitOf IS NULL
      THEN detail.byteCount ELSE 0 END) AS bytes,
  sum(CASE WHEN detail_type = 'Batch Succeeded'
      THEN coalesce(detail.ingestedRecordCount, detail.sentRecordCount, 0) ELSE 0 END) AS rows_loaded,
  sum(CASE WHEN detail_type = 'Batch Created' THEN 1 ELSE 0 END) AS batches,
  sum(CASE WHEN detail_type = 'Batch Succeeded' THEN 1 ELSE 0 END) AS loaded,
  sum(CASE WHEN detail_type = 'Batch Failed' THEN 1 ELSE 0 END) AS failed,
  sum(CASE WHEN detail_type = 'Arrival Rejected' THEN greatest(1, detail.fileCount) ELSE 0 END) AS rejected
FROM intake_events
WHERE day = CAST(current_date AS varchar)
GROUP BY coalesce(detail.route, '-')
ORDER BY route
