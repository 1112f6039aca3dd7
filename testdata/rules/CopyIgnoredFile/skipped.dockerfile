FROM scratch
# check=skip=CopyIgnoredFile
COPY Dockerfile .
