FROM scratch
copy a /b
COPY a /c
WORKDIR /x
