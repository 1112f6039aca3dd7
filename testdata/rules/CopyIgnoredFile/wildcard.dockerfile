FROM scratch
COPY *.md /x/
COPY doc* /x/
