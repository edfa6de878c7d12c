-- How many events alike a row stands for.
ALTER TABLE audit ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
