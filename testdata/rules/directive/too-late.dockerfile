FROM scratch AS x

# check=skip=all

COPY $u /b
COPY $u /b
