"""
Calls that are paid for once, however often and from however many processes they are made.

A ledger is a SQLite file (`paid.db`) with one row for each call, and a folder beside it (`paid.db.images/`) with one
file for each image, named by its SHA-256. Any number of processes share it.

How a call with a key goes:

1. *Find.* The row of the key is read. Where it is done, the stored images are the answer: no request leaves, and the
   digest of each image is checked. Where it belongs to another request, that is an error.
2. *Begin.* In the hook before each attempt, after pacing and every check, one transaction writes the row as `sent`,
   with the token of this process, and is on the disk before the POST leaves. Of two processes that come here at the
   same time one finds the row of the other: it has sent nothing, and waits.
3. *Wait.* Within one client, callers of the same key wait for an event. Another process reads the row again, after
   20 ms at first and 1 s at most. The process that sent it holds a lock on a small file (`.paid.db/.locks/TOKEN`),
   which the kernel gives back when the process dies, however it dies. A row that is `sent` and whose lock is free is
   therefore `unknown`, and the process that finds it so records that: a killed owner never means an endless wait, and a slow one
   is never taken for a dead one. There is no heartbeat and no clock in this.
4. *Keep.* Images stream into the folder and are synced; then the row becomes `done`. A crash before that commit leaves
   `unknown`, never a second POST. Signed URLs are recorded first (`linked`), and a download is repeated without
   paying again.
5. *Deliver.* The images are read back, into memory or to the caller's directory.

| row | the next call with its key |
|---|---|
| `sent`, its process lives | waits for it |
| `sent`, its process is dead | records `unknown`, and fails with the facts of the first attempt |
| `linked` | downloads what was paid for |
| `done` | gets the images, without a request |
| `failed`, not charged | tries again |
| `failed`, charged | fails likewise, until the key is forgotten |
| `unknown` | fails with the facts of the first attempt, until the key is forgotten or settled |
"""
