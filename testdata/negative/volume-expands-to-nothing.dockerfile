FROM scratch
VOLUME $x
