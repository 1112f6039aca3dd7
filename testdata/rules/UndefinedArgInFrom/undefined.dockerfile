ARG tag=latest
FROM scratch$tga AS a
FROM scratch${other} AS b
