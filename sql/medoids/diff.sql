-- How the medoids of two days differ, user by user.
WITH one AS (
    SELECT
        user_id,
        list_sort(list(pin_id)) AS pins
    FROM medoids_of_one
    GROUP BY user_id
),

other AS (
    SELECT
        user_id,
        list_sort(list(pin_id)) AS pins
    FROM medoids_of_other
    GROUP BY user_id
),

both_days AS (
    SELECT
        one.user_id IS NOT NULL AS in_one,
        other.user_id IS NOT NULL AS in_other,
        len(list_intersect(one.pins, other.pins)) AS n_shared,
        coalesce(len(one.pins), 0) AS n_one,
        coalesce(len(other.pins), 0) AS n_other
    FROM one
    FULL JOIN other ON one.user_id = other.user_id
)

SELECT
    count(*) FILTER (in_one) AS users_in_one,
    count(*) FILTER (in_other) AS users_in_other,
    count(*) FILTER (in_one AND NOT in_other) AS users_lost,
    count(*) FILTER (in_other AND NOT in_one) AS users_new,
    count(*) FILTER (in_one AND in_other AND n_shared = n_one AND n_shared = n_other)
        AS users_unchanged,
    coalesce(avg(n_shared / (n_one + n_other - n_shared)) FILTER (in_one AND in_other), 0)
        AS mean_jaccard,
    coalesce(avg(n_one) FILTER (in_one), 0) AS mean_clusters_one,
    coalesce(avg(n_other) FILTER (in_other), 0) AS mean_clusters_other
FROM both_days
