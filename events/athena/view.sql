-- Each event once: the journal may hold repeats. All other queries ask this view.
CREATE OR REPLACE VIEW intake_events AS
SELECT day, hour, detail_type, detail
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY day, hour, detail_type, detail.externalId
    ORDER BY coalesce(detail.endedAt, detail.rejectedAt, detail.createdAt, time)
  ) AS nth
  FROM intake_journal
) AS events
WHERE nth = 1
