-- What is in the user's actions, at a glance.
SELECT
    count(*) AS actions,
    count(DISTINCT user_id) AS users,
    min(acted_at)::DATE AS first_day,
    max(acted_at)::DATE AS last_day
FROM raw_actions
WHERE acted_at IS NOT NULL
