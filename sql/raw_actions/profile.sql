-- What is in the user's actions, at a glance; absurd times count as the first or last day there is.
WITH clamped AS (
    SELECT
        user_id,
        greatest(
            least(acted_at, TIMESTAMPTZ '9999-12-31 00:00:00+00'),
            TIMESTAMPTZ '0001-01-01 00:00:00+00'
        ) AS acted_at
    FROM raw_actions
    WHERE acted_at IS NOT NULL
)

SELECT
    count(*) AS actions,
    count(DISTINCT user_id) AS users,
    min(acted_at)::DATE AS first_day,
    max(acted_at)::DATE AS last_day
FROM clamped
