-- One bucket's users: actions of the window against actions in their clusters.
WITH acted AS (
    SELECT
        user_id,
        count(*) AS n_actions
    FROM labelled_user_actions
    WHERE reason IS NULL
    GROUP BY user_id
),

clustered AS (
    SELECT
        user_id,
        count(*) AS n_clusters,
        sum(n_actions)::BIGINT AS n_actions
    FROM medoids
    GROUP BY user_id
)

SELECT
    coalesce(acted.user_id, clustered.user_id) AS user_id,
    coalesce(clustered.n_clusters, 0) AS n_clusters,
    coalesce(acted.n_actions, 0) AS n_actions_acted,
    coalesce(clustered.n_actions, 0) AS n_actions_clustered,
    coalesce(acted.n_actions, 0) = coalesce(clustered.n_actions, 0) AS sums_agree
FROM acted
FULL JOIN clustered ON acted.user_id = clustered.user_id
ORDER BY user_id
