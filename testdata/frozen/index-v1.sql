CREATE TABLE record (
    key         BLOB PRIMARY KEY,
    kind        INTEGER NOT NULL,
    result      BLOB NOT NULL,
    explanation BLOB NOT NULL,
    created     INTEGER NOT NULL,
    used        INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE selection (
    key     BLOB PRIMARY KEY,
    content BLOB NOT NULL
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
PRAGMA user_version = 1;
INSERT INTO image VALUES ('docker.io/library/app:latest', zeroblob(32), 1700000000);
INSERT INTO selection VALUES (
    x'0707070707070707070707070707070707070707070707070707070707070707', zeroblob(32));
