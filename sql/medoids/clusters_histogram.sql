-- Users by number of clusters, in bins that double: bin k holds 2^k to 2^(k+1) - 1.
WITH users AS (
    SELECT
        user_id,
        count(*) AS n_clusters
    FROM medoids
    GROUP BY user_id
)

SELECT
    floor(log2(n_clusters))::INTEGER AS bin,
    count(*) AS n
FROM users
GROUP BY bin
ORDER BY bin
