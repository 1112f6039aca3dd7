FROM scratch
COPY --exclude=! . /
