-- What is in the user's actions, at a glance.
SELECT
    count(*) AS actions,
    count(DISTINCT user_id) AS users,
    greatest(min(acted_at), TIMESTAMPTZ '0001-01-01 00:00:00+00')::DATE AS first_day,
    least(max(acted_at), TIMESTAMPTZ '9999-12-31 00:00:00+00')::DATE AS last_day
FROM raw_actions
WHERE acted_at IS NOT NULL
