FROM scratch
CMD ["run", "it"]
ENTRYPOINT []
