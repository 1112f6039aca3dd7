FROM scratch
CMD ["a"]
# check=skip=MultipleInstructionsDisallowed
CMD ["b"]
# check=skip=MultipleInstructionsDisallowed
ENTRYPOINT ["a"]
ENTRYPOINT ["b"]
