//! The agent protocol, as far as a step may speak it (draft-ietf-sshm-ssh-agent, sections 3 and 4):
//! it may ask which keys there are and have something signed, and nothing else.
//!
//! A message is its length as four bytes, big-endian, a byte that says what it is, and its content, in
//! which a string has its own length before it.

use ssh_key::HashAlg;

use super::keys::Keyring;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// The longest message, as in OpenSSH.
pub(super) const LONGEST: usize = 256 * 1024;

/// The answer to what is not done.
pub(super) fn refusal() -> Vec<u8> {
    vec![FAILURE]
}

/// Whether a step may ask this of an agent.
pub(super) fn is_allowed(request: &[u8]) -> bool {
    matches!(request.first(), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)))
}

/// What an agent with these keys answers.
pub(super) fn answer(keys: &Keyring, request: &[u8]) -> Vec<u8> {
    let answer = match request.split_first() {
        Some((&REQUEST_IDENTITIES, _)) => Some(identities(keys)),
        Some((&SIGN_REQUEST, content)) => signature(keys, content),
        _ => None,
    };
    answer.unwrap_or_else(refusal)
}

fn identities(keys: &Keyring) -> Vec<u8> {
    let known = keys.identities();
    let mut message = vec![IDENTITIES_ANSWER];
    message.extend((known.len() as u32).to_be_bytes());
    for (public, comment) in known {
        put_string(&mut message, public);
        put_string(&mut message, comment.as_bytes());
    }
    message
}

fn signature(keys: &Keyring, content: &[u8]) -> Option<Vec<u8>> {
    let (public, rest) = take_string(content)?;
    let (data, rest) = take_string(rest)?;
    let (flags, _) = rest.split_first_chunk()?;
    let flags = u32::from_be_bytes(*flags);
    let hash = match flags {
        _ if flags & RSA_SHA2_512 != 0 => Some(HashAlg::Sha512),
        _ if flags & RSA_SHA2_256 != 0 => Some(HashAlg::Sha256),
        _ => None,
    };
    let mut message = vec![SIGN_RESPONSE];
    put_string(&mut message, &keys.sign(public, data, hash)?);
    Some(message)
}

fn put_string(message: &mut Vec<u8>, string: &[u8]) {
    message.extend((string.len() as u32).to_be_bytes());
    message.extend(string);
}

fn take_string(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_unknown_is_refused() {
        let keys = Keyring::default();
        let endless = [SIGN_REQUEST, 0xff, 0xff, 0xff, 0xff, 1];
        for request in [&[][..], &[17], &[SIGN_REQUEST], &endless] {
            assert_eq!(answer(&keys, request), [FAILURE], "{request:?}");
        }
        assert_eq!(
            answer(&keys, &[REQUEST_IDENTITIES]),
            [IDENTITIES_ANSWER, 0, 0, 0, 0]
        );
    }
}
