CREATE TABLE record (
    key         BLOB PRIMARY KEY,
    kind        INTEGER NOT NULL,
    result      BLOB NOT NULL,
    content     BLOB NOT NULL,
    created     INTEGER NOT NULL,
    used        INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE step (
    content     BLOB PRIMARY KEY,
    outline     BLOB NOT NULL,
    inputs      BLOB NOT NULL,
    explanation BLOB NOT NULL,
    created     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX step_outline ON step (outline, created);
CREATE INDEX step_inputs ON step (inputs, created);
CREATE TABLE selection (
    key     BLOB PRIMARY KEY,
    content BLOB NOT NULL,
    used    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE layer_blob (
    diff_id     BLOB NOT NULL,
    compression TEXT NOT NULL,
    digest      BLOB NOT NULL,
    size        INTEGER NOT NULL,
    media_type  TEXT NOT NULL,
    PRIMARY KEY (diff_id, compression)
) WITHOUT ROWID;
CREATE TABLE image (
    name     TEXT PRIMARY KEY,
    manifest BLOB NOT NULL,
    created  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE measured (
    path  TEXT PRIMARY KEY,
    stamp INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = 2;
INSERT INTO record VALUES (
    x'0707070707070707070707070707070707070707070707070707070707070707', 0, x'00',
    x'0707070707070707070707070707070707070707070707070707070707070707', 1700000000, 1700000000);
INSERT INTO layer_blob VALUES (zeroblob(32), 'gzip-6-x', zeroblob(32), 1, 'x');
INSERT INTO layer_blob VALUES (zeroblob(32), 'original-y', zeroblob(32), 1, 'x');
