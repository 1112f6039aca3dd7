FROM scratch
ONBUILD copy a /b
COPY a /c
