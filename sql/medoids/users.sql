-- One bucket's users: the actions of the window against what is said of their clusters.
-- Importance (eq. 3) is summed anew from the actions' own times.
WITH acted AS (
    SELECT
        user_id,
        count(*) AS n_actions,
        sum(exp(-$decay_per_day * (epoch_us($end) - epoch_us(acted_at)) / 86400000000.0))
            AS importance,
        min(acted_at) AS first_acted_at,
        max(acted_at) AS last_acted_at
    FROM labelled_user_actions
    WHERE reason IS NULL
    GROUP BY user_id
),

clustered AS (
    SELECT
        user_id,
        count(*) AS n_clusters,
        sum(n_actions)::BIGINT AS n_actions,
        sum(importance) AS importance,
        min(first_acted_at) AS first_acted_at,
        max(last_acted_at) AS last_acted_at
    FROM medoids
    GROUP BY user_id
)

SELECT
    coalesce(acted.user_id, clustered.user_id) AS user_id,
    coalesce(clustered.n_clusters, 0) AS n_clusters,
    coalesce(acted.n_actions, 0) AS n_actions_acted,
    coalesce(clustered.n_actions, 0) AS n_actions_clustered,
    coalesce(acted.importance, 0) AS importance_acted,
    coalesce(clustered.importance, 0) AS importance_clustered,
    coalesce(acted.n_actions, 0) = coalesce(clustered.n_actions, 0) AS sums_agree,
    coalesce(
        abs(acted.importance - clustered.importance) <= 1e-9 * acted.importance, FALSE
    ) AS importance_agrees,
    coalesce(
        acted.first_acted_at = clustered.first_acted_at
        AND acted.last_acted_at = clustered.last_acted_at,
        FALSE
    ) AS times_agree
FROM acted
FULL JOIN clustered ON acted.user_id = clustered.user_id
ORDER BY user_id
