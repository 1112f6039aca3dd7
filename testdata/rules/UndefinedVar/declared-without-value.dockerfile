FROM scratch
ARG foo
COPY a$foo /b
FROM scratch AS two
COPY a$foo /b
