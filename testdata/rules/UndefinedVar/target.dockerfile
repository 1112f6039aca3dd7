FROM scratch AS a
COPY $foo /x
FROM scratch AS b
COPY $bar /x
