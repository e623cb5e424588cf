-- Every pin that has an embedding, with what is known of it and the first reason to drop it.
-- The better pin that it names must be fit itself: one with an embedding, of enough quality, not
-- blocked, and no duplicate of a third. Else both would be dropped, and nothing would show what
-- they show.
SELECT
    pin_rows.pin_id,
    pin_rows.row,
    pins.quality,
    pins.created_at,
    pins.topic,
    better_rows.pin_id AS near_duplicate_of,
    CASE
        WHEN pin_rows.pin_id::VARCHAR IN (SELECT blocked.pin FROM blocked) THEN 'blocked'
        WHEN pins.quality < $min_quality THEN 'low_quality'
        WHEN better_rows.pin_id IS NOT NULL THEN 'near_duplicate'
    END AS reason
FROM pin_rows
LEFT JOIN pins ON pin_rows.pin_id = pins.pin_id
LEFT JOIN pins AS better
    ON
        pins.near_duplicate_of = better.pin_id
        AND pins.pin_id != better.pin_id
        AND coalesce(better.quality >= $min_quality, TRUE)
        AND better.near_duplicate_of IS NULL
        AND better.pin_id::VARCHAR NOT IN (SELECT blocked.pin FROM blocked)
LEFT JOIN pin_rows AS better_rows ON better.pin_id = better_rows.pin_id
ORDER BY pin_rows.row
