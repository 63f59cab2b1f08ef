-- The state of a batch: one SQLite file in the output folder. docs/batch.md describes it for users.
-- A job is one line of the job file; an attempt is one request that may be billed.

CREATE TABLE batch (
    nonce  TEXT NOT NULL,           -- part of every order id, so that two batches never share one
    bucket TEXT,                    -- where the images are; NULL: in the folder of this file
    copied TEXT                     -- when this file was copied to the bucket, in the copy
);

CREATE TABLE runs (
    run     INTEGER PRIMARY KEY,
    host    TEXT NOT NULL,
    pid     INTEGER NOT NULL,
    started TEXT NOT NULL,          -- UTC, such as 2026-08-01T20:15:00Z, as all times
    ended   TEXT,                   -- NULL: it is running, or was killed
    stopped TEXT                    -- why it ended early, if it did
);

CREATE TABLE jobs (
    job           INTEGER PRIMARY KEY,       -- in the order of the job file
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL UNIQUE COLLATE NOCASE,  -- of its file, without the extension
    line          INTEGER,                   -- of the job file
    parameters    TEXT NOT NULL,             -- JSON: the prompt, and all other fields of the request
    carried       TEXT NOT NULL DEFAULT '{}',  -- JSON: columns of the job file that are not sent
    status        TEXT NOT NULL DEFAULT 'pending',
    remake        INTEGER NOT NULL DEFAULT 0,  -- 1: if its URL has expired, generate it again
    run           INTEGER NOT NULL,          -- the latest run that listed it
    error_class   TEXT,
    error_message TEXT
);

CREATE TABLE attempts (
    attempt       INTEGER PRIMARY KEY,
    job           INTEGER NOT NULL REFERENCES jobs,
    request_id    TEXT NOT NULL UNIQUE,      -- `client_request_id` in the provider's log
    sent          TEXT NOT NULL,             -- when it was about to be sent
    outcome       TEXT NOT NULL DEFAULT 'sent',
    credits       INTEGER,                   -- NULL: unknown, or nothing
    usd           REAL,
    urls          TEXT,                      -- JSON: where its images can be fetched
    kept          TEXT,                      -- JSON: paths of images that could not be written to the folder
    inference_id  TEXT,
    error_class   TEXT,
    error_message TEXT
);
CREATE INDEX attempts_of_job ON attempts (job);

CREATE TABLE files (
    job      INTEGER NOT NULL REFERENCES jobs,
    number   INTEGER NOT NULL,               -- 1, or more if one request made several images
    path     TEXT NOT NULL,                  -- relative to the folder of this file
    bytes    INTEGER NOT NULL,
    sha256   TEXT NOT NULL,
    modified INTEGER NOT NULL,               -- nanoseconds since 1970; a file with this size and time is not read again
    format   TEXT NOT NULL,
    width    INTEGER NOT NULL,
    height   INTEGER NOT NULL,
    seconds  REAL NOT NULL,                  -- from the first attempt to the complete image
    PRIMARY KEY (job, number)
) WITHOUT ROWID;

-- One row for each job, as in results.jsonl.
CREATE VIEW results AS
SELECT jobs.job, jobs.id, jobs.status, jobs.line, files.path AS file,
       json_extract(jobs.parameters, '$.prompt') AS prompt, jobs.parameters, jobs.carried,
       files.format, files.width, files.height, files.bytes, files.sha256, files.seconds,
       (SELECT sum(credits) FROM attempts WHERE attempts.job = jobs.job) AS credits,
       (SELECT round(sum(usd), 9) FROM attempts WHERE attempts.job = jobs.job) AS usd,
       (SELECT count(*) FROM attempts WHERE attempts.job = jobs.job) AS attempts,
       last.request_id, last.inference_id, last.urls, jobs.error_class, jobs.error_message
FROM jobs
LEFT JOIN files ON files.job = jobs.job AND files.number = 1
LEFT JOIN attempts AS last ON last.attempt = (SELECT max(attempt) FROM attempts WHERE attempts.job = jobs.job);
