FROM scratch AS a
WORKDIR /app
WORKDIR sub
FROM a
WORKDIR more
