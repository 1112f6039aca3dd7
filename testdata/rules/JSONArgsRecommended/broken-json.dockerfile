FROM scratch
CMD ['run']
