-- The day in numbers, over all buckets.
WITH users AS (
    SELECT
        user_id,
        count(*) AS n_clusters
    FROM medoids
    GROUP BY user_id
)

SELECT
    count(*) AS n_users,
    coalesce(sum(n_clusters), 0)::BIGINT AS n_clusters,
    coalesce(avg(n_clusters), 0) AS mean_clusters,
    coalesce(quantile_disc(n_clusters, 0.5), 0)::BIGINT AS median_clusters,
    coalesce(quantile_disc(n_clusters, 0.9), 0)::BIGINT AS p90_clusters,
    coalesce(max(n_clusters), 0)::BIGINT AS most_clusters
FROM users
