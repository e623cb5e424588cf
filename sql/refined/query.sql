-- Every pin that has an embedding, with what is known of it and the first reason to drop it.
SELECT
    pin_rows.pin_id,
    pin_rows.row,
    pins.quality,
    pins.near_duplicate_of,
    CASE
        WHEN pins.quality < $min_quality THEN 'low_quality'
        WHEN pins.near_duplicate_of IS NOT NULL THEN 'near_duplicate'
    END AS reason
FROM pin_rows
LEFT JOIN pins ON pin_rows.pin_id = pins.pin_id
ORDER BY pin_rows.row
