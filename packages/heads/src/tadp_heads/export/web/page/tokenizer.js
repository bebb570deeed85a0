"use strict";

// CLIP's tokenizer: lower case, words, then byte pairs within a word. `settings`: see site.py.
class Tokenizer {
  constructor(settings) {
    Object.assign(this, settings);
    this.ranks = new Map(settings.merges.map((pair, rank) => [pair.join(" "), rank]));
    this.letters = Tokenizer.lettersOfBytes();
    // The longest first, so that "<night>_1" is not read as "<night>".
    this.addedNames = Object.keys(settings.added).sort((a, b) => b.length - a.length);
  }

  // A printable letter for each byte, as GPT-2 has it.
  static lettersOfBytes() {
    const printable = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    let other = 256;
    return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : other++));
  }

  // text -> {ids: `length` numbers, words: [{text, positions in ids}], isCut: whether its end was left out}
  encode(text) {
    const inner = [];
    const words = [];
    let isCut = false;
    for (const part of this.parts(text.normalize("NFC"))) {
      const ids = part.id === undefined ? this.idsOfWord(part.text) : [part.id];
      const room = this.length - 2 - inner.length;
      isCut ||= ids.length > room;
      if (room <= 0) break;
      const kept = ids.slice(0, room);
      this.addWord(words, part, kept.map((_, index) => 1 + inner.length + index));
      inner.push(...kept);
    }
    const ids = [this.begin, ...inner, this.end];
    return { ids: [...ids, ...Array(this.length - ids.length).fill(this.padding)], words, isCut };
  }

  // A token that was learned as several vectors is one word.
  addWord(words, part, positions) {
    const last = words[words.length - 1];
    if (part.id !== undefined && last && part.text.startsWith(last.text + "_")) last.positions.push(...positions);
    else words.push({ text: part.text, positions });
  }

  // Words and added tokens in order: {text, id of an added token}.
  parts(text) {
    const found = [];
    let plain = "";
    const flush = () => {
      found.push(...this.plainWords(plain).map((word) => ({ text: word })));
      plain = "";
    };
    for (let at = 0; at < text.length; ) {
      const name = this.addedNames.find((added) => text.startsWith(added, at));
      if (name === undefined) {
        plain += text[at++];
        continue;
      }
      flush();
      for (const written of this.vectorsOf(name)) found.push({ text: written, id: this.added[written] });
      at += name.length;
    }
    flush();
    return found;
  }

  // "<x>" is written once and means "<x>", "<x>_1", ... where it was learned as several vectors.
  vectorsOf(name) {
    const found = [name];
    while (`${name}_${found.length}` in this.added) found.push(`${name}_${found.length}`);
    return found;
  }

  plainWords(text) {
    const words = /'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+/gu;
    return text.replace(/\s+/gu, " ").toLowerCase().match(words) ?? [];
  }

  idsOfWord(word) {
    const bytes = new TextEncoder().encode(word);
    const letters = Array.from(bytes, (byte) => this.letters[byte]);
    letters[letters.length - 1] += "</w>";
    return this.merged(letters).map((token) => this.vocab[token] ?? this.end);
  }

  // Joins the pair that was learned first, until no pair is known.
  merged(tokens) {
    for (;;) {
      const ranks = tokens.slice(1).map((token, index) => this.ranks.get(`${tokens[index]} ${token}`) ?? Infinity);
      const best = Math.min(...ranks);
      if (best === Infinity) return tokens;
      const at = ranks.indexOf(best);
      tokens = [...tokens.slice(0, at), tokens[at] + tokens[at + 1], ...tokens.slice(at + 2)];
    }
  }
}
