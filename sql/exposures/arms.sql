-- Sums over the users of each arm, of those who were in one arm only; and how many were not.
SELECT
    arm,
    min(share) AS share,
    count(DISTINCT share) AS n_shares,
    count(*) FILTER (n_arms > 1) AS moved,
    count(*) FILTER (n_arms = 1) AS users,
    coalesce(sum(n_exposures) FILTER (n_arms = 1), 0) AS exposures,
    count(*) FILTER (n_arms = 1 AND n_actions > 0) AS acting,
    coalesce(sum(n_actions) FILTER (n_arms = 1), 0) AS actions,
    coalesce(sum(n_actions * n_actions) FILTER (n_arms = 1), 0) AS squares
FROM exposed_users
GROUP BY arm
ORDER BY arm
