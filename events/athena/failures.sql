-- What was rejected or failed this week, by route and reason, the most frequent first.
SELECT
  coalesce(detail.route, '-') AS route,
  CASE WHEN detail_type = 'Arrival Rejected' THEN detail.reason
       WHEN detail_type = 'Batch Failed' THEN 'batch-failed' ELSE 'batch-abandoned' END AS reason,
  count(*) AS events,
  sum(greatest(1, detail.fileCount)) AS files,
  min(detail.detail) AS an_example
FROM intake_events
WHERE day > CAST(current_date - INTERVAL '7' DAY AS varchar)
  AND detail_type IN ('Arrival Rejected', 'Batch Failed', 'Batch Abandoned')
GROUP BY 1, 2
ORDER BY events DESC, route, reason
