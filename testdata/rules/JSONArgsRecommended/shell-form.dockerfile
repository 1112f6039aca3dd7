FROM scratch
CMD run it
ENTRYPOINT run it
