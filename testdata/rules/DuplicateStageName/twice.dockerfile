FROM scratch AS b
FROM scratch AS c
FROM scratch AS B
FROM scratch AS b
