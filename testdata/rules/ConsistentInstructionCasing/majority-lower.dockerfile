from scratch
copy a /b
COPY a /c
workdir /x
