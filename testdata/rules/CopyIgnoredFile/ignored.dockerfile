FROM scratch
COPY Dockerfile .
ADD Dockerfile /windy
COPY ok ./dir/secret /x/
