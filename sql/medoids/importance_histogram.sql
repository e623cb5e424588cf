-- Clusters by importance, in bins that double, from 2^-10 to 2^20.
SELECT
    floor(log2(least(greatest(importance, 0.001), 1000000)))::INTEGER AS bin,
    count(*) AS n
FROM medoids
WHERE isfinite(importance)
GROUP BY bin
ORDER BY bin
